"""A folder of its own names for the tests of the report: other rooms have files called alike."""
