"""Operations: runbooks whose steps are commands, the doctor's checks, backups, the draft of a postmortem.

Nothing here asks a server or a database: flows/ gathers the facts and runs the commands.
"""
