"""The endpoints. Each converts, calls the service, and converts back."""
