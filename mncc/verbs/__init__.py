"""One file a verb: each computes a value that mncc.report shows, so that Python and the command line share it."""
