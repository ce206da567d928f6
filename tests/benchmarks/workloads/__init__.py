"""Every workload, in the order of the report."""

from __future__ import annotations

from tests.benchmarks.workload import Workload
from tests.benchmarks.workloads.calls import Call
from tests.benchmarks.workloads.dense import Logistic, Mlp
from tests.benchmarks.workloads.embeddings import Word2Vec
from tests.benchmarks.workloads.images import LeNet, ResNet
from tests.benchmarks.workloads.loops import Chain, Recurrence
from tests.benchmarks.workloads.mobile import MobileNet
from tests.benchmarks.workloads.pointwise import BlackScholes, CrossEntropy, LayerNorm
from tests.benchmarks.workloads.products import PRODUCTS
from tests.benchmarks.workloads.reductions import Sum
from tests.benchmarks.workloads.sequences import Lstm, Transformer

WORKLOADS: tuple[Workload, ...] = (
    Call(by_run=True), Call(), Logistic(), Mlp((64, 128, 64, 10), 50, "digits"), Mlp(), LeNet(), Lstm(),
    Transformer(), LayerNorm(), CrossEntropy(), BlackScholes(), Sum(0), Sum(1), Sum(), Chain(), Recurrence(),
    *PRODUCTS, ResNet(1), ResNet(8), MobileNet(1), MobileNet(8), Word2Vec(),
)
GROUPS: dict[str, list[Workload]] = {}
for _workload in WORKLOADS:
    GROUPS.setdefault(_workload.group, []).append(_workload)
