"""Who may do what: grants, API keys and signed tokens. It knows no HTTP."""
