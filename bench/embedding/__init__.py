"""Text encoders side by side: ours over HTTP, and the libraries and loops it is compared with."""
