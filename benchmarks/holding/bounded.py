"""How near a target a loop can hold a wandering quantity by an actuator that is bounded, and that acts through Adam's first moment.

    x' = phi x + push m' + w, w ~ N(0, q)        m' = lag m + (1 - lag) u        signal = x + v, v ~ N(0, r)

x is the distance of log entropy to its target, u the coefficient of the bonus, set before the signal of its step is seen; lag is Adam's
beta1. The best linear loop with a given standard deviation of u is the LQG one: a Kalman filter, and the gain that minimises
E x^2 + price E u^2, at the price that brings u to it. A bonus within +-b has one of at most b, and of b / 2
if it is not to be at its bound in one step of twenty.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_discrete_are, solve_discrete_lyapunov

LAG = 0.9
PRICES = np.logspace(-9, 2, 111)


class Loop(NamedTuple):
    error: float
    """Standard deviation of x."""
    gain: float = 0.0
    """Of u on the estimate of x."""
    smoothing: float = 1.0
    """Decay of the average that estimates x."""


def best(phi: float, q: float, r: float, push: float, size: float, lag: float = LAG) -> Loop:
    """The loop with the smallest error, with a standard deviation of u of at most ``size``; q and r are variances."""
    a = np.array([[phi, push * lag], [0.0, lag]])
    b = np.array([[push * (1 - lag)], [1 - lag]])
    seen = np.array([[1.0, 0.0]])
    wander = np.diag([q, 0.0])
    p = solve_discrete_are(a.T, seen.T, wander + 1e-14 * np.eye(2), np.array([[r]]))
    learn = a @ p @ seen.T / (seen @ p @ seen.T + r)
    least = Loop(math.sqrt(q / (1 - phi**2)))  # nobody acts
    for price in PRICES:
        s = solve_discrete_are(a, b, np.diag([1.0, 0.0]) + 1e-12 * np.eye(2), np.array([[price]]))
        act = np.linalg.solve(price + b.T @ s @ b, b.T @ s @ a)
        loop = np.block([[a, -b @ act], [learn @ seen, a - b @ act - learn @ seen]])
        noise = np.block([[wander, np.zeros((2, 2))], [np.zeros((2, 2)), r * learn @ learn.T]])
        spread = solve_discrete_lyapunov(loop, noise)
        if (act @ spread[2:, 2:] @ act.T).item() <= size**2:
            least = min(least, Loop(math.sqrt(spread[0, 0]), act[0, 0].item(), 1 - learn[0, 0].item() / phi))
    return least
