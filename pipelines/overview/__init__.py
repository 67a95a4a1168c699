"""The status page: what is known of every model (facts), whether that is well (verdicts), and one page that says so.

Pure: who asks databases and servers is flows/overview/gathering.py. Nothing here ever holds a text of a user or a secret.
"""
