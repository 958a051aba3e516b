"""The command line: parse, call one verb, print or write."""
