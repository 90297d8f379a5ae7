"""The measurements that the README quotes: `make bench`, or `python -m bench.peers` once the engines are installed."""
