"""An application that shows what reaches it: the request, the environment, the files."""
