# Update rules by name: their parameters with defaults, and the arrays of their state.

RULES = {"sgd": {"momentum": 0.0}}


cdef class Optimizer:
    """An update rule: a kind and its parameters. Immutable.

    `sgd` (momentum=0): v = momentum * v + g; w -= learning_rate * v. Its state is `velocity`, none if momentum is 0.

    `state` names the arrays that the rule keeps between steps, of the shape of the parameters, zeros before the first.
    Raises `ValueError` for a kind or a parameter that does not exist.
    """

    cdef OptimizerParams params
    cdef readonly str kind
    cdef readonly tuple state

    def __cinit__(self, str kind not None, **params):
        if kind not in RULES:
            raise ValueError(f"optimizer is {kind!r}; it is one of {', '.join(RULES)}")
        for name in params:
            if name not in RULES[kind]:
                raise ValueError(f"{kind} has no parameter {name!r}: it has {', '.join(RULES[kind])}")
        given = RULES[kind] | params
        self.kind = kind
        self.params.kind = SGD
        self.params.momentum = <float><double>given["momentum"]
        self.state = ("velocity",) if given["momentum"] else ()

    cdef Update update(self):
        """Without arrays."""
        cdef Update update
        memset(&update, 0, sizeof(update))
        update.params = self.params
        update.starts = True
        update.skips_zeros = not self.state
        return update

    cdef check_state(self, dict state, parameters):
        """`state` has the arrays of this rule, writable, of the shape of `parameters`, all in memory of their own."""
        if set(state) != set(self.state):
            wanted, given = ", ".join(self.state) or "no arrays", ", ".join(map(str, state)) or "none"
            raise ValueError(f"state must have {wanted}, not {given}")
        earlier = {"parameters": parameters}
        for name, array in state.items():
            _contiguous(name, array, _FLOAT32, 1, True)
            _same_shape(name, array, "the parameters", parameters.shape)
            for other_name, other in earlier.items():
                _apart(name, array, other_name, other)
            earlier[name] = array
