"""What clients use of the API, in counters by organization, day and client."""
