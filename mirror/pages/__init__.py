"""Web pages: what is here, for people."""
