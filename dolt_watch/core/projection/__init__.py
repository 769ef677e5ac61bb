"""Row changes become events; events become state. Pure."""
