"""Models as hubs publish them: read from their own configuration, and pulled."""
