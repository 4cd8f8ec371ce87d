"""What all views share: parsing, answers, errors, access, logs and the documentation."""
