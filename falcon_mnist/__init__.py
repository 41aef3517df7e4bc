"""Train and serve small neural networks on MNIST over a REST API, on kernels of our own."""
