"""QueenBee: two very small language models that read radiology findings, and how they are made.

`grammar` writes findings, `train` makes a model of them, `evaluate` measures it, `models/` holds
the two that ship. The weights are real and truly unsure where the text is; they are a
demonstration and no medical device.
"""
