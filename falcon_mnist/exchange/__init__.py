"""Translation to and from what other software reads and writes: ONNX, NPZ, PyTorch's names, Open Inference Protocol.

May import: training, storage's file format, kernels. Knows no HTTP, no SQL, no paths: bytes and arrays in and out.
"""
