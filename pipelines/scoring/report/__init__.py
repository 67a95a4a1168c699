"""The report that an approver signs on: a page, its Markdown, its pictures."""
