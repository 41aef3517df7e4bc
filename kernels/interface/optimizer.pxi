# Update rules by name: their parameters with defaults, and the arrays of their state.

RULES = {
    "sgd": {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "averaging": 0.0},
    "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "averaging": 0.0},
    "adamw": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01, "averaging": 0.0},
}
STATE_SLOTS = {"velocity": VELOCITY, "first_moment": FIRST_MOMENT, "second_moment": SECOND_MOMENT, "average": AVERAGE}
RULE_KINDS = {"sgd": SGD, "adam": ADAM, "adamw": ADAMW}
LEAST_NORMAL = float(np.finfo(np.float32).tiny)


cdef class Optimizer:
    """An update rule: a kind and its parameters. Immutable.

    `sgd` (momentum=0, nesterov=False): v = momentum * v + g; w -= learning_rate * v, or Nesterov's
    learning_rate * (g + momentum * v). Its state is `velocity`, none if momentum is 0.
    `adam`, `adamw` (beta1=0.9, beta2=0.999, eps=1e-8), bias-corrected; their state is `first_moment`, `second_moment`.
    All have weight_decay, which adds weight_decay * w to the gradient, or with `adamw` takes learning_rate *
    weight_decay * w from w (networks decay weights, not biases); and averaging, the largest decay d of `average`:
    after step t (from 0) average = d' * average + (1 - d') * w with d' = min(d, (1 + t) / (10 + t)).

    `state` names the arrays that the rule keeps between steps, of the shape of the parameters: zeros before the first
    step, but for `average`, which starts as the parameters.
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
        self.params.kind = RULE_KINDS[kind]
        self.params.weight_decay = <float><double>given["weight_decay"]
        self.params.averaging = given["averaging"]
        if kind == "sgd":
            self.params.momentum = <float><double>given["momentum"]
            self.params.nesterov = given["nesterov"]
            self.state = ("velocity",) if given["momentum"] else ()
        else:
            self.params.beta1 = given["beta1"]
            self.params.beta2 = given["beta2"]
            # Subnormal numbers count as 0 in training, and 0 / (0 + eps) must be 0.
            self.params.eps = <float><double>max(given["eps"], LEAST_NORMAL)
            self.state = ("first_moment", "second_moment")
        if given["averaging"]:
            self.state += ("average",)
        self.params.plain = kind == "sgd" and not (
            self.params.nesterov or self.params.weight_decay or self.params.averaging
        )

    cdef Update update(self):
        """Without arrays."""
        cdef Update update
        memset(&update, 0, sizeof(update))
        update.params = self.params
        update.starts = True
        update.skips_zeros = self.params.plain and not self.state
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
