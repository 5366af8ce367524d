"""Our own small PyTorch versions of the published networks, for tests, benchmarks and --prove (proof.py).

They carry exactly the published state-dict names (NCHW, torch layouts) and are written from the facts of the
papers and of the files, so that a converted network can be put beside its origin. Only this folder imports
torch. All are made in evaluation mode, with arbitrary weights: load a state dict, or use ``fixtures.randomise``.
"""
