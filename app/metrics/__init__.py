"""What the service did and how it is, as numbers for a monitoring system."""
