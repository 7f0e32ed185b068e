"""The scenario interface of a running simulator over HTTP, with OpenAPI."""
