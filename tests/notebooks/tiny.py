# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A notebook with which the tests try the programs

# %% tags=["setup"]
import os

from tfgen.notebooks.checks import check

SMALL = bool(os.environ.get("TFGEN_NOTEBOOKS_SMALL"))

# %% [markdown]
# ### Exercise 9.a — Twice a number


# %% tags=["exercise"]
def double(x):
    """Two times `x`."""
    # A sum is exact, too.
    return x + x


# %%
check(double)
print(f"{double(2)}, with {'small' if SMALL else 'full'} settings")


# %% tags=["exercise"]
def quadruple(x):
    """Four times `x`, by two calls of `double`."""
    return double(double(x))


# %%
check(quadruple)
