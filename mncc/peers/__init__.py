"""Other inference engines, measured beside mncc's library on the same network with the same weights.

`engines` is the table of what can be measured, `onnx_export`, `litert_export` and `ncnn_export` hand a network over,
`worker` is the program that one engine runs in, `process` the other end of its pipe, and `rounds` runs all in turn.
"""

from mncc.peers.engines import ENGINES, Engine, PeerError
from mncc.peers.handover import Handover
from mncc.peers.process import Process, Runs
from mncc.peers.rounds import Contestant, enter, measure

__all__ = ["ENGINES", "Contestant", "Engine", "Handover", "PeerError", "Process", "Runs", "enter", "measure"]
