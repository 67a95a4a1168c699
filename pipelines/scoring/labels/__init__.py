"""People's labels: whom to ask about what, and what their answers say of a model and of its judge."""
