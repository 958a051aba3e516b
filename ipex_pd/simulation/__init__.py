"""Floor 3: simulate(), its labelled result, endpoints and virtual populations."""
