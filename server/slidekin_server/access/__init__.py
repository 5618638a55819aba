"""Who may call what: identities, keys, tokens, certificates, roles, and the audit log."""
