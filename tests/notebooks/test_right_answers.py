"""Answers that are written in other ways than the solutions are right, in the grader's process."""

import ast
import contextlib
import functools
import re
from pathlib import Path

import numpy as np
import pytest

from notebooks._grading import Process
from notebooks.checks import find_mistake
from tests.notebooks.test_mistakes import HEADER, exercises, solutions

pytestmark = pytest.mark.slow

# Names of an exercise and of its arguments, and below statements and what an answer returns. A line
# that is indented goes on.
ANSWERS = """
sample_images(f, n, D, rng)
z = rng.normal(0, 1, (n, D)); z, rng.binomial(1, f(z))
z = rng.standard_normal((n, D)); [z, np.stack([rng.random(len(p)) < p for p in f(z)])]
z = np.float32(rng.standard_normal((n, D))); z, tf.cast(rng.random(f(z).shape) < f(z), tf.float32)
z = scipy.stats.norm.ppf(rng.random((D, n))).T; z, scipy.stats.bernoulli.rvs(f(z), random_state=rng)
log_mean_exp(p)
np.logaddexp.reduce(p, axis=0) - np.log(len(p))
[max(c) + math.log(sum(np.exp(c - max(c))) / len(c)) for c in p.T]
scipy.special.logsumexp(p, axis=0, b=1 / len(p))
kl_to_prior(m, s)
tfd.MultivariateNormalDiag(m, exp(s)).kl_divergence(tfd.MultivariateNormalDiag(0 * m))
(tf.einsum("bd,bd->b", m, m) + tf.einsum("bd->b", tf.math.expm1(2 * s) - 2 * s)) / 2
[add((exp(2 * b) + a * a - 1) / 2 - b) for a, b in zip(tf.unstack(m), tf.unstack(s))]
bernoulli_log_prob(x, a)
tfd.Independent(tfd.Bernoulli(logits=a), 1).log_prob(x)
tf.einsum("bp,bp->b", x, a) - add(tf.reduce_logsumexp(tf.stack([a, 0 * a]), 0), 1)
-keras.losses.binary_crossentropy(x, a, from_logits=True) * x.shape[1]
negative_elbo(x, a, m, s)
-add(bernoulli_log_prob(x, a) - kl_to_prior(m, s)) / len(x)
(add((exp(2 * s) + m**2 - 1) / 2 - s) - add(x * a - softplus(a))) / x.shape[0]
ops.mean(kl_to_prior(m, s)) - ops.mean(bernoulli_log_prob(x, a))
sample_posterior(m, s, e)
tfp.bijectors.Shift(m)(tfp.bijectors.Scale(log_scale=s)(e))
tf.stack([a + math.e**b * c for a, b, c in zip(m, s, e)])
tf.vectorized_map(lambda p: p[0] + exp(p[1]) * p[2], (m, s, e))
discriminator_loss(a, b)
bce(1 + 0 * a, a) + bce(0 * b, b)
-mean(tfd.Bernoulli(logits=a).log_prob(1)) - mean(tfd.Bernoulli(logits=b).log_prob(0))
ops.mean(ops.logaddexp(-a, 0.0)) + ops.mean(ops.logaddexp(b, 0.0))
discriminator_step_loss(g, d, x, z)
mean(softplus(-d(x, training=True))) + mean(softplus(d(stop(g(z, training=True)), training=True)))
fake = stop(g(z, training=True)); discriminator_loss(d(x, True), d(fake, True))
discriminator_loss(d(x, training=1), d(tf.constant(g(z, training=1).numpy()), training=1))
discriminator_loss(*map(functools.partial(d, training=True), [x, stop(g(z, training=True))]))
discriminator_loss(*(tf.squeeze(d(i, training=True), 1) for i in (x, stop(g(z, training=True)))))
optimal_discriminator(p, g)
(1 + np.tanh((p - g) / 2)) / 2
m = np.maximum(p, g); np.exp(p - m) / (np.exp(p - m) + np.exp(g - m))
scipy.special.softmax([p, g], axis=0)[0]
jensen_shannon(p, q, h)
np.log(2) - 0.5 * h * add(exp(p) * softplus(q - p) + exp(q) * softplus(p - q))
p, q = np.exp([p, q]); h * sum(sum(scipy.special.rel_entr(a, (p + q) / 2)) for a in (p, q)) / 2
m = np.logaddexp(p, q) - np.log(2); h * (np.exp(p) @ (p - m) + np.exp(q) @ (q - m)) / 2
generator_loss(a)
-add(tfd.Bernoulli(logits=a).log_prob(1)) / len(a)
mean(tf.maximum(-a, 0) + tf.math.log1p(exp(-abs(a))))
mean(-tf.nn.log_softmax(tf.stack([a, 0 * a], -1))[..., 0])
spherical_path(s, e, n)
a = tf.acos(add(s * e) / (tf.norm(s) * tf.norm(e))); t = tf.linspace(0.0, a, n)[:, None]
  (tf.sin(a - t) * s + tf.sin(t) * e) / tf.sin(a)
u, v = s / norm(s), e / norm(e); a = 2 * np.arctan2(norm(u - v), norm(u + v))
  [(np.sin(a - t) * s + np.sin(t) * e) / np.sin(a) for t in np.linspace(0, a, n)]
a = np.arccos(s @ e / norm(s) / norm(e)); t = np.linspace(0, a, n)
  np.cos(t) * s + np.sin(t) * (e - np.cos(a) * s) / np.sin(a)
log_prob_of_map(x, f)
d = (f(x + 1e-6) - f(x - 1e-6)) / 2e-6; -(f(x) ** 2 + LOG_2PI) / 2 + log(abs(d))
z, d = tfp.math.value_and_gradient(f, x); tfd.Normal(0 * x, 1).log_prob(z) + log(d**2) / 2
d = tf.function(lambda v: tf.gradients(f(v), v)); log(abs(d(x)[0]) * scipy.stats.norm.pdf(f(x)))
dequantize(x, u)
b, m = x.shape; (tf.cast(x, u.dtype) + u) / 256, -m * np.log(256) * np.ones(b)
(tf.cast(x, u.dtype) + u) * 2.0**-8, -8 * math.log(2) * add(tf.ones_like(u), axis=1)
y = (np.float32(x) + np.float32(u)) / 256; y, [-8 * u.shape[1] * np.log(2)] * len(y)
bits_per_dim(p, m)
[-a * math.log2(math.e) / m for a in p]
tf.map_fn(lambda a: a / (-math.log(2) * m), p)
tf.cast(-p, tf.float32) / m / math.log(2)
log_prob_of_chain(x, layers)
h, t = functools.reduce(lambda s, f: (f(s[0])[0], s[1] + f(s[0])[1]), layers, (x, 0.0))
  h, t + tfd.MultivariateNormalDiag(0 * h).log_prob(h)
h, d = layers[0](x); rest = layers[1:]
  z, p = log_prob_of_chain(h, rest) if rest else (h, -add(h**2 + LOG_2PI, 1) / 2); z, p + d
o = [*itertools.accumulate(layers, lambda s, f: f(s[0]), initial=(x, 0.0))]; z = o[-1][0]
  z, sum(d for _, d in o) - sum(tf.unstack(z**2 + LOG_2PI, axis=1)) / 2
coupling_forward(z, b, f)
s, t = f(b * z); s, t = s * (1 - b), t * (1 - b); z * exp(s) + t, add(s, axis=-1)
s, t = f(z * b); [tf.where(b == 1, z, z * exp(s) + t), tf.linalg.matvec(s, 1 - b)]
s, t = f(b * z); z + (1 - b) * (z * tf.math.expm1(s) + t), tf.einsum("bm,m->b", s, 1 - b)
coupling_inverse(x, b, f)
s, t = f(b * x); s, t = s * (1 - b), t * (1 - b); (x - t) / exp(s), -add(s, axis=-1)
s, t = f(x * b); [tf.where(b == 1, x, (x - t) / exp(s)), tf.linalg.matvec(s, b) - add(s, 1)]
s, t = f(b * x); z = b * x + (1 - b) * (x - t) * exp(-s); z, -coupling_forward(z, b, f)[1]
straight_path(a, b, t)
a + tf.einsum("b,b...->b...", t, b - a), -a + b
s = tf.reshape(t, [-1, *[1] * (a.shape.rank - 1)]); b * s + a * (1 - s), tf.subtract(b, a)
[tf.stack([(1 - s) * x + s * y for x, y, s in zip(a, b, tf.unstack(t))]), b - a]
marginal_velocity(x, t, c, s)
u = t[:, None]; v = (1 - u) ** 2 + (s * u) ** 2
  l = tf.stack([tfd.MultivariateNormalDiag(u * k, v**0.5 + 0 * x).log_prob(x) for k in c])
  w = tf.nn.softmax(l, 0)[..., None]
  add(w * tf.stack([k + (s**2 * u - 1 + u) / v * (x - u * k) for k in c]), 0)
u = t[:, None, None]; q = u * s; r = x[:, None] - u * c; p = (1 - u) ** 2 + q**2
  w = tf.nn.softmax(-add(r**2 / p, 2) / 2)[..., None]
  (add(w * (c + q * s / p * r), 1) - x) / (1 - t[:, None])
u = t[:, None]; v = (1 - u) ** 2 + (s * u) ** 2
  p = lambda y: tf.reduce_logsumexp(-add((y[:, None] - u[:, None] * c) ** 2, 2) / (2 * v), 1)
  (x + (1 - u) * tfp.math.value_and_gradient(p, x)[1]) / u
flow_matching_loss(f, a, b, t)
u = b - a; e = u - f(a + t[:, None] * u, t); tf.norm(e) ** 2 / tf.size(u, tf.float64)
p, u = straight_path(a, b, t); ops.mean(ops.square(u - f(p, t)))
p, u = straight_path(a, b, t); 2 * tf.nn.l2_loss(f(p, t) - u) / u.shape.num_elements()
p, u = straight_path(a, b, t); add([mean((v - w) ** 2) for v, w in zip(f(p, t), u)]) / len(u)
p, u = straight_path(a, b, t); tfp.stats.variance(f(p, t) - u, None) + mean(f(p, t) - u) ** 2
midpoint_step(f, x, t, h)
k = f(x, t); x + f(x + 0.5 * h * k, t + h * 0.5) * h
k = h * f(x, t); x + h * f((2 * x + k) / 2, t + h / 2)
g = lambda y, s: h * f(y, t + s * h); x + g(x + g(x, 0) / 2, 0.5)
tf.add_n([x, h * f(tf.add_n([x, h / 2 * f(x, t)]), tf.add(t, h / 2))])
functools.reduce(lambda y, s: x + h * s * f(y, t + h * (s - 0.5)), [0.5, 1], x)
probe_divergence(f, x, t, e)
add(e * tfp.math.value_and_gradient(lambda y: add(e * f(y, t), 1), x)[1], 1)
tf.einsum("bi,bi->b", e, tfp.math.value_and_gradient(lambda y: add(e * f(y, t)), x)[1])
g = lambda y, u: tfp.math.value_and_gradient(lambda z: add(f(z, t) * u), y)[1]
  add([p * q for p, q in zip(tf.unstack(e, axis=1), tf.unstack(g(x, e), axis=1))], 0)
h = lambda y, u: tf.gradients(f(y, t)[:, u], y)[0]; r = range(x.shape[1])
  j = tf.function(lambda y: tf.stack([h(y, u) for u in r], 1))
  add(e * tf.linalg.matvec(j(x), e), 1)
d = tf.function(lambda y: tf.gradients(f(y, t), y, e)); add(e * d(x)[0], 1)
diffusion_terms(x, v, t)
s = 1 - t[:, None]; m = x + s * v; [m - v, m, (v - m) / s]
n = x - tf.einsum("b,bi->bi", t, v); n, n + v, n / (t[:, None] - 1)
s = t[:, None]; m = x + v - s * v; n = (x - s * m) / (1 - s); n, m, (s * v - x) / (1 - s)
frechet_distance(m, S, n, T)
e = np.linalg.eigvals(S @ T).real.clip(0); sum((m - n) ** 2) + np.trace(S + T - 2 * np.diag(e**0.5))
np.linalg.norm(m - n) ** 2 + np.trace(S + T - 2 * scipy.linalg.sqrtm(S @ T).real)
f = lambda u, s, v: u * np.sqrt(s) @ v; A, B = (f(*np.linalg.svd(a)) for a in (S, T))
  np.sum((m - n) ** 2) + np.trace(S + T) - 2 * np.linalg.svd(A @ B)[1].sum()
coverage(x, y, k)
t, s = map(scipy.spatial.KDTree, (y, x)); np.mean(s.query(y)[0] <= t.query(y, k + 1)[0][:, k])
c = scipy.spatial.distance.cdist; mean(tf.cast(c(y, x).min(1) <= tf.sort(c(y, y))[:, k], y.dtype))
d = lambda p, a: np.linalg.norm(a - p, axis=1)
  sum(any(d(p, x) <= sorted(d(p, y))[k]) for p in y) / len(y)
nats_to_bits_per_dim(p, s)
[-a / math.log(2) / math.prod(s) for a in p]
-np.log2(math.e) * p / np.zeros(s).size
-tf.constant(p) / tf.cast(tf.reduce_prod(s), p.dtype) / math.log(2)
rank_by_likelihood(r)
l = {n: v for n, v in r.items() if v}; o = lambda n: l[n].get("bits_per_dim") or l[n]["nll"]
  {l[m]["events"]: sorted((n for n in l if l[n]["events"] == l[m]["events"]), key=o) for m in l}
s = sorted((v["events"], v.get("bits_per_dim") or v["nll"], n) for n, v in r.items() if v)
  {e: tuple(n for *_, n in g) for e, g in itertools.groupby(s, lambda row: row[0])}
l = collections.defaultdict(dict)
  [l[v["events"]].update({n: v.get("bits_per_dim") or v["nll"]}) for n, v in r.items() if v]
  {e: {n: 0 for n in sorted(q, key=q.get)}.keys() for e, q in l.items()}
s = sorted((v.get("bits_per_dim") or v["nll"], n, v["events"]) for n, v in r.items() if v)
  {e: np.array([n for _, n, f in s if e == f]) for e in {row[2] for row in s}}
l = {n: -v.get("bits_per_dim", v.get("nll")) for n, v in r.items() if v}
  s = sorted(l, key=l.get)[::-1]; e = {n: r[n]["events"] for n in s}
  {k: [n for n in s if e[n] == k] for k in e.values()}
u = lambda v: v["bits_per_dim" if v["events"] == "bytes" else "nll"]
  l = {n: (v["events"], u(v)) for n, v in r.items() if v}
  {e: iter([n for n in sorted(l, key=l.get) if l[n][0] == e]) for e, _ in l.values()}
"""
# Ways to make another answer of a solution `f`, and the exercises whose values it keeps.
ALL = " ".join(solutions())
ARRAYS = "log_mean_exp average_over_draws optimal_discriminator jensen_shannon spherical_path "
ARRAYS += "frechet_distance coverage nats_to_bits_per_dim"
SEVERAL = "dequantize log_prob_of_chain coupling_forward coupling_inverse straight_path "
SEVERAL += "diffusion_terms"
TENSORS = "kl_to_prior bernoulli_log_prob negative_elbo sample_posterior discriminator_loss "
TENSORS += "generator_loss log_prob_of_map bits_per_dim marginal_velocity"
OF_FUNCTIONS = "discriminator_step_loss flow_matching_loss midpoint_step probe_divergence"
STYLES = {
    "lambda *any: f(*any)": ALL,
    "type('Answer', (), {'__call__': lambda self, *any: f(*any)})()": ALL,
    "functools.partial(f)": ALL,
    "lambda *any: f(**dict(zip(inspect.signature(f).parameters, any)))": ALL,
    "tf.function(f)": f"{TENSORS} {SEVERAL} {OF_FUNCTIONS}",
    "tf.function(f, jit_compile=True)": TENSORS,
    "lambda *any: tf.cast(f(*any), tf.float64)": TENSORS,
    "lambda *any: f(*[a.astype('float32') if hasattr(a, 'astype') else a for a in any])": ARRAYS,
    "lambda *any: tf.constant(f(*any))": ARRAYS,
    "lambda *any: f(*any).tolist()": ARRAYS,
    "lambda *any: (part for part in f(*any))": f"{SEVERAL} sample_images",
    "lambda *any: dict(enumerate(f(*any))).values()": f"{SEVERAL} sample_images",
}


def answers() -> dict[str, list[str]]:
    """The code that defines each answer, by the names of the exercises."""
    found: dict[str, list[str]] = {name: [] for name in solutions()}
    for style, names in STYLES.items():
        for name in names.split():
            found[name].append(f"f = {name}\n{name} = {style}")
    for line in ANSWERS.replace("\n  ", "; ").strip().split("\n"):
        if re.fullmatch(r"\w+\([\w, ]+\)", line):
            head, name = line, line.partition("(")[0]
        else:
            *statements, result = line.split("; ")
            code = "".join(f"    {part}\n" for part in [*statements, f"return {result}"])
            found[name].append(f"def {head}:\n{code}")
    shared = (code.replace("log_mean_exp", "average_over_draws") for code in found["log_mean_exp"])
    found["average_over_draws"] += [code for code in shared if code.startswith("def")]
    return found


def test_ten_other_answers_of_each_exercise_are_right(tmp_path: Path) -> None:
    mistakes = {}
    with contextlib.closing(Process(str(tmp_path), ["keras", "tensorflow"], 300)) as process:
        for name, codes in answers().items():
            assert len(codes) >= 10
            process.start_clock()
            for code in codes:
                source = "\n".join([HEADER, *solutions().values(), code])
                parts = [ast.unparse(statement) for statement in ast.parse(source).body]
                statements = [[f"cell {number}", text, 0] for number, text in enumerate(parts)]
                call = functools.partial(process.call, name, statements)
                mistakes[code] = find_mistake(exercises()[name], call, np.random.default_rng(2))
    assert mistakes == dict.fromkeys(mistakes)
