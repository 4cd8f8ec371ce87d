"""The schemas of requests and answers, for parsing, the documentation and the tests: a file for each noun."""
