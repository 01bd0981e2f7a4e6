"""All speed tricks. Each has a plain version, which runs where the trick can't."""
