"""An app of somebody else's, as PORTAL_EXTRA_APPS names it: it registers tasks of its own."""
