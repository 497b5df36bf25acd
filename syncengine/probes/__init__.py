"""The open questions about a space, each as a function that answers it with throw-away contacts."""
