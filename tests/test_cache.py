"""Promises of the cache: what is known is not compiled again, what is damaged is no danger."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf
from graphflow.compiler import digests, pipeline
from graphflow.compiler.codec import CodecError, decode, encode
from graphflow.compiler.fingerprint import Subject, UnsuitedError
from graphflow.compiler.ir.dims import atom, maximum, minimum, sym
from graphflow.compiler.program import Buffer
from graphflow.compiler.signature import Signature
from graphflow.extend import UNARY, OpDef, elementwise, pointwise, shapes
from graphflow.runtime import cache, compilation, cpu, loader, objects, sources
from graphflow.runtime.cache import Cache

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
import hashlib, json, sys
import numpy as np
import graphflow as tf
x = tf.placeholder(tf.float32, [None, 8], name="x")
w = tf.Variable(np.linspace(-1, 1, 24).reshape(8, 3).astype(np.float32))
big = tf.constant(np.random.RandomState(0).rand(3, 400).astype(np.float32))
h = tf.nn.softmax(tf.matmul(tf.tanh(x), w))
loss = tf.reduce_mean(tf.gather(tf.matmul(h, big), [2, 0, 1], axis=1)) + tf.reduce_sum(tf.squeeze(x[:1]))
train = tf.train.AdamOptimizer(0.1).minimize(loss)
wide = tf.placeholder(tf.float32, [None])
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    parts = []
    for n in (4, 1, 9):
        value = np.sin(np.arange(8 * n, dtype=np.float32)).reshape(n, 8)
        parts += [v.tobytes() for v in session.run([loss, h, train], {x: value})[:2]]
    parts.append(session.run(w).tobytes())
    parts.append(session.run(tf.exp(wide), {wide: np.linspace(-1, 1, 1_000_000)}).tobytes())  # in threads
print(json.dumps([hashlib.sha256(b"".join(parts)).hexdigest(),
                  sorted({"numba", "llvmlite", "networkx", "ml_dtypes"} & sys.modules.keys()),
                  "graphflow.compiler.pipeline" in sys.modules]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GRAPHFLOW_CHECK", raising=False)  # it compiles anew each time
    return tmp_path / "cache" / "programs"


@pytest.fixture
def compiled(monkeypatch):
    """How often the passes and LLVM ran: a list of their names."""
    ran = []

    def counted(name, run):
        def wrapper(*args):
            ran.append(name)
            return run(*args)
        return wrapper

    monkeypatch.setattr(pipeline, "compile_signature", counted("passes", pipeline.compile_signature))
    monkeypatch.setattr(objects, "compile_object", counted("LLVM", objects.compile_object))
    return ran


def fingerprint(fetch, feeds=(), types=None):
    return Subject(signature_of(fetch, feeds, types)).fingerprint


def signature_of(fetch, feeds=(), types=None):
    return Signature((fetch,), (), tuple(feeds), types or tuple(t.type for t in feeds))


def run_script(folder, **environment):
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "GRAPHFLOW_CACHE": str(folder), **environment})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Hits

def step(scale=2.0, constant=(1.0, 2.0, 3.0), name="pick"):
    """Loss of a small graph with a variable, a constant and an index check."""
    with tf.Graph().as_default():
        i = tf.placeholder(tf.int32, [None])
        x = tf.placeholder(tf.float32, [None, 3])
        v = tf.Variable(np.ones(3, np.float32), name="v")
        y = tf.reduce_sum(tf.gather(tf.constant(constant) * v, i, name=name)) + tf.reduce_mean(x * scale)
        sess = session()
        return lambda a=(0, 2), b=((1, 2, 3),): sess.run(y, {i: np.array(a, np.int32), x: b})


def test_a_hit_runs_neither_passes_nor_llvm(folder, compiled):
    cold = step()()
    assert compiled.count("passes") == compiled.count("LLVM") == 2  # initializers and y
    compiled.clear()
    assert step()() == cold and compiled == []


def test_another_constant_or_attribute_or_name_compiles(folder, compiled):
    step()()
    compiled.clear()
    assert step(scale=3.0)() != step()() and "passes" in compiled
    compiled.clear()
    step(constant=(1.0, 2.0, 4.0))()
    assert "passes" in compiled
    compiled.clear()
    step(name="choose")()
    assert "passes" in compiled and "LLVM" not in compiled  # the machine code is the same


def test_lines_may_move_and_errors_name_the_new_ones(folder, compiled, tmp_path):
    text = ("import graphflow as tf\n{}def build(i):\n"
            "    return tf.gather(tf.constant([1., 2., 3.]), i, name='pick')\n")
    for lines in (0, 7, 100):
        (tmp_path / "model.py").write_text(text.format("\n" * lines))
        space: dict = {}
        code = compile((tmp_path / "model.py").read_text(), str(tmp_path / "model.py"), "exec")
        exec(code, space)
        with tf.Graph().as_default():
            i = tf.placeholder(tf.int32, [None])
            y = space["build"](i)
            with pytest.raises(tf.errors.InvalidArgumentError, match=rf"pick.*model.py:{lines + 3}\b"):
                tf.Session().run(y, {i: [5]})
    assert compiled == ["passes", "LLVM"]


def test_dims_that_become_constants_are_known_too(folder, compiled):
    """squeeze asks whether a dim is 1: the first compilation ends with that question."""
    def run():
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [None, 3])
            return tf.Session().run(tf.squeeze(x), {x: np.ones((1, 3))}).shape

    assert run() == (3,) and compiled.count("passes") == 2
    compiled.clear()
    assert run() == (3,) and compiled == []


def test_large_constants_stay_in_the_graph(folder):
    c = np.random.RandomState(0).rand(1000, 300).astype(np.float32)
    for _ in range(2):
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, [None, 1000])
            y = tf.matmul(x, tf.constant(c))
            assert np.array_equal(tf.Session().run(y, {x: np.eye(1000)})[7], c[7])
    assert sum(f.stat().st_size for f in folder.iterdir()) < c.nbytes / 4


def test_a_warm_process_imports_no_compiler_and_gives_the_same_bits(folder):
    off, *_ = run_script("0")
    by_numba, modules, _ = run_script("0", GRAPHFLOW_JIT="numba")
    assert "numba" in modules
    cold, modules, passes = run_script(folder.parent)
    assert passes and "llvmlite" in modules
    warm, modules, passes = run_script(folder.parent)
    assert warm == cold == off == by_numba
    if loader.is_native() and cpu.parse_cpuinfo(Path("/proc/cpuinfo").read_text()):
        assert modules == [] and not passes


def test_debugging_compiles_anew(folder, compiled, monkeypatch, capsys):
    step()()
    compiled.clear()
    monkeypatch.setenv("GRAPHFLOW_DEBUG", "5")
    step()()
    assert "passes" in compiled and "define ptr @program" in capsys.readouterr().err


def test_off(folder, compiled, monkeypatch):
    monkeypatch.setenv("GRAPHFLOW_CACHE", "0")
    assert cache.current() is None
    step()()
    step()()
    assert compiled.count("passes") == 4 and not folder.exists()


def test_the_users_folder(monkeypatch):
    monkeypatch.delenv("GRAPHFLOW_CACHE")
    assert os.path.isabs(cache.default_folder()) and "graphflow" in cache.default_folder()
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache.current() is None


# Damage

@pytest.mark.parametrize("damage", [
    lambda b: b[:-1], lambda b: b[:40], lambda b: b"", lambda b: b[:60] + bytes([b[60] ^ 1]) + b[61:],
    lambda b: b.replace(b"cache 1", b"cache 0"), lambda b: b + b"x", lambda b: bytes(len(b))])
def test_a_damaged_entry_is_a_miss(folder, compiled, damage):
    cold = step()()
    for f in folder.iterdir():
        f.write_bytes(damage(f.read_bytes()))
    compiled.clear()
    assert step()() == cold and "passes" in compiled
    compiled.clear()
    assert step()() == cold and compiled == []


@pytest.mark.parametrize("nonsense", [b"", b"-" * 64, b"\xff" * 1000, os.urandom(5000),
                                      b"-" * 64 + (6).to_bytes(8, "little") + b"[[],0]"],
                         ids=["empty", "key", "ones", "random", "number"])
def test_a_whole_entry_with_nonsense_is_a_miss(folder, compiled, nonsense):
    cold = step()()
    entries = Cache(folder.parent)
    for f in folder.iterdir():
        entries.write(f.name, nonsense)
    compiled.clear()
    assert step()() == cold and "passes" in compiled


def test_an_entry_of_another_name_is_a_miss(folder):
    known = cache.Cache(str(folder))
    known.write("one", b"first")
    known.write("two", b"second")
    os.replace(known._path("two"), known._path("one"))
    assert known.read("one") is None and known.read("two") is None


def test_damaged_objects_are_refused():
    if not loader.is_native():
        pytest.skip("objects of this system are LLVM's to link")
    ir = "define i64 @f(i64 %x) { %y = mul i64 %x, 3\n ret i64 %y }"
    image = objects.compile_object(ir)
    loader.load(image, "f")
    for bad in (b"", image[:20], image[:len(image) // 2], b"x" + image[1:]):
        with pytest.raises(loader.UnlinkableError):
            loader.load(bad, "f")
    with pytest.raises(loader.UnlinkableError, match="damaged"):
        loader.load(image, "g")
    for text, why in (("declare void @unheard()\ndefine void @f() { call void @unheard()\n ret void }",
                       "unheard"), ("@v = global i64 3\ndefine ptr @f() { ret ptr @v }", "variables")):
        with pytest.raises(loader.UnlinkableError, match=why):
            loader.load(objects.compile_object(text), "f")


def test_what_our_loader_cannot_link_goes_to_numba(folder, monkeypatch):
    def refuse(image, entry):
        raise loader.UnlinkableError("for the test")

    want = step()()
    monkeypatch.setattr(loader, "load", refuse)
    assert step()() == want


def test_llvm_links_the_same_objects():
    import ctypes

    ir = ("declare ptr @memset(ptr, i32, i64)\n"
          "define double @f(double %x, ptr %p) { call ptr @memset(ptr %p, i32 7, i64 3)\n"
          " %y = fmul double %x, 1.25\n ret double %y }")
    image = objects.compile_object(ir)
    for link in (loader.load, loader.load_by_llvm):
        code = link(image, "f")
        memory = ctypes.create_string_buffer(4)
        run = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_char_p)(code.address)
        assert run(4.0, memory) == 5.0 and memory.raw == b"\7\7\7\0"


# The folder

def test_entries_are_private_and_the_oldest_go_first(tmp_path):
    entries = Cache(str(tmp_path))
    for k in range(12):
        entries.write(f"{k:x}1", bytes(1000))
        os.utime(tmp_path / "programs" / f"{k:x}1", (1000 + k, 1000 + k))
    if os.name == "posix":
        assert (tmp_path / "programs").stat().st_mode & 0o777 == 0o700
    assert entries.read("01") == bytes(1000)  # used: it counts as new
    entries.most_bytes = 10_000
    entries.trim()
    assert entries.read("01") and entries.read("b1") and not entries.read("11")
    assert sum(f.stat().st_size for f in (tmp_path / "programs").iterdir()) <= 10_000
    entries.write("too large", bytes(9_000))
    assert entries.read("too large") is None


def test_unfinished_files_of_dead_writers_go(tmp_path):
    entries = Cache(str(tmp_path))
    (tmp_path / "programs" / "old.part").write_bytes(b"")
    (tmp_path / "programs" / "new.part").write_bytes(b"")
    os.utime(tmp_path / "programs" / "old.part", (1000, 1000))
    entries.trim()
    assert [f.name for f in (tmp_path / "programs").iterdir()] == ["new.part"]


def test_folders_that_cannot_be_used_turn_the_cache_off(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO", "graphflow")
    (tmp_path / "file").write_text("")
    (tmp_path / "open" / "programs").mkdir(parents=True, mode=0o755)
    os.chmod(tmp_path / "open" / "programs", 0o755)
    (tmp_path / "link").mkdir()
    os.symlink(tmp_path, tmp_path / "link" / "programs")
    for name in ("file", "open", "link"):
        caplog.clear()
        entries = Cache(str(tmp_path / name))
        entries.write("key", b"value")
        assert entries.read("key") is None and len(caplog.records) == 1
    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path / "file"))
    assert step()() == step()()


def test_a_full_disk_turns_writing_off(folder, monkeypatch, caplog):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    caplog.set_level("INFO", "graphflow")
    monkeypatch.setattr(cache.os, "replace", full)
    assert step()() == step()()
    assert len(caplog.records) == 1 and list(folder.iterdir()) == []


def test_many_writers_and_readers(tmp_path):
    values = [bytes([k]) * 20_000 for k in range(4)]
    seen: set = set()

    def work(value):
        entries = Cache(str(tmp_path))
        for _ in range(50):
            entries.write("key", value)
            seen.add(entries.read("key"))

    threads = [threading.Thread(target=work, args=(v,)) for v in values]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert seen <= set(values) and len(list((tmp_path / "programs").iterdir())) == 1


def test_processes_that_start_together(folder):
    running = [subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
               for _ in range(2)]
    results = [json.loads(p.communicate()[0])[0] for p in running]
    assert results[0] == results[1] == run_script(folder.parent)[0]


# Keys and codec

def test_fingerprints_tell_graphs_apart():
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    texts = [fingerprint(y, [x]) for y in (
        x + 1, x + 2, x - 1, tf.cast(x + 1, tf.float64), tf.reduce_sum(x), tf.reduce_sum(x, 0),
        tf.reduce_sum(x, [0]), tf.reduce_sum(x, 1), tf.reduce_sum(x, 1, keepdims=True),
        x + tf.constant([0.0] * 4), x + tf.constant([-0.0] * 4), x + np.arange(4, dtype=np.float32),
        tf.reshape(x, [-1]), tf.reshape(x, [tf.shape(x)[0] * 4]), tf.reshape(x, [4 * tf.shape(x + 0)[0]]))]
    assert len(set(texts)) == len(texts)
    static = (tf.placeholder(tf.float32, [7, 4]).type,)
    assert fingerprint(x + 1, [x]) != fingerprint(x + 1, [x], static)


def test_the_target_and_the_compiler_are_in_the_key(folder, compiled, monkeypatch):
    step()()
    for change in ((cpu, "target", lambda: "another"), (objects, "version", lambda: b"another"),
                   (compilation, "compiler_version", lambda known: b"another")):
        compiled.clear()
        with monkeypatch.context() as m:
            m.setattr(*change)
            step()()
        assert "passes" in compiled, change


def test_the_first_processor_of_cpuinfo():
    text = "processor\t: 0\nflags\t\t: fpu avx2 fma\nbugs\t: none\n\nprocessor\t: 1\nflags\t\t: fpu\n"
    assert cpu.parse_cpuinfo(text) == {"fpu", "avx2", "fma"}
    assert cpu.parse_cpuinfo("Features\t: fp asimd\n") == {"fp", "asimd"}
    assert cpu.parse_cpuinfo("flags\t\t: fpu av") == cpu.parse_cpuinfo("") == frozenset()


@pytest.mark.parametrize("size", [0, 64, digests._LONG - 1, digests._LONG])
def test_hashes_tell_contents_apart(size):
    a, b = np.zeros(size, np.uint8), np.zeros(size + 1, np.uint8)
    found = {digests.digest_of_long(x.data) for x in (a, b)} | {digests.digest_of_long(b[1:].data)}
    assert len(found) == 2 and {len(f) for f in found} == {digests.SIZE}
    assert digests.digest([b"ab", b"", b"c"]) == digests.digest([b"abc"]) != digests.digest([b"abd"])


def test_caches_as_linux_tells_them(tmp_path):
    for k, (level, kind, size) in enumerate([("1", "Data", "48K"), ("1", "Instruction", "32K"),
                                             ("2", "Unified", "2M"), ("3", "Unified", "107520K")]):
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (tmp_path / f"index{k}").mkdir(exist_ok=True)
            (tmp_path / f"index{k}" / name).write_text(text + "\n")
    found = cpu.linux_caches(str(tmp_path))
    assert found == {"l1": 48 << 10, "l2": 2 << 20, "l3": 105 << 20}
    assert cpu.believed(found) == {"l1": 48 << 10, "l2": 2 << 20, "l3": 32 << 20}
    assert cpu.believed({"l1": 0, "l2": 1 << 12, "l3": -1}) == cpu.linux_caches(str(tmp_path / "none")) == {}
    (tmp_path / "index2" / "size").write_text("unknown")
    assert cpu.linux_caches(str(tmp_path)) == {"l1": 48 << 10}


def test_the_version_follows_the_text_of_the_sources_whatever_their_times_say(tmp_path, monkeypatch):
    known = Cache(str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "_HOME", str(tmp_path))
    monkeypatch.setattr(sources, "_SETTLED", -1.0)
    version = sources.compiler_version.__wrapped__
    with pytest.raises(UnsuitedError):
        version(known)
    file = tmp_path / "compiler" / "a.py"
    file.parent.mkdir()
    file.write_text("x = 1")
    first, times = version(known), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    assert version(known) == first
    monkeypatch.setattr(sources, "_hash", lambda *_: pytest.fail("read again"))
    assert version(known) == first
    monkeypatch.undo()
    monkeypatch.setattr(sources, "_HOME", str(tmp_path))
    time.sleep(0.02)  # some file systems tell times in steps of 10 ms
    file.write_text("x = 2")
    os.utime(file, ns=times)
    assert version(known) != first
    file.write_text("x = 1")
    assert version(known) == first


def test_ops_of_ones_own_are_compiled_in_each_process(folder, compiled):
    double = OpDef("double_for_cache_test", "x", infer=elementwise("float"), lower=pointwise(lambda x: x + x),
                   numpy=lambda x: x + x, samples=shapes(*UNARY))
    x = tf.placeholder(tf.float32, [2])
    y = double(x)
    with pytest.raises(UnsuitedError, match="double_for_cache_test"):
        Subject(signature_of(y, [x]))
    for _ in range(2):
        assert tf.Session().run(y, {x: [1, 2]}).tolist() == [2, 4]
    assert compiled == ["passes", "LLVM", "passes"]  # the object is known by its IR


def test_values_come_back_from_bytes():
    x = tf.placeholder(tf.float32, [None], name="x")
    subject = Subject(signature_of(x + 1, [x]))
    n, m = sym("n"), sym("m")
    buffers = tuple(Buffer(role, tf.float32, size, source=f"here.py:{size % 2}")
                    for size, role in enumerate(("feed", "arena", "arena", "output", "arena")))
    value = (1, -2, None, True, "text", (), ((1,), "made at nowhere.py:3"), float("inf"), 0.1, tf.bfloat16,
             "long " * 999, buffers, buffers[:1], ((n, 1), (n, 1), (n, 1), (m, 2)),
             n, n * n * 3 - m + 1, minimum(n, m // 3) * maximum(n, 4), atom("int", "k[0]"), {n: (n % m,)})
    assert decode(encode(value, subject), subject) == value
    for array in (np.arange(6.0).reshape(2, 3), np.zeros((0, 2), np.int8), np.array(2, np.float32),
                  np.ones(3, tf.bfloat16.as_numpy_dtype)):
        back, = decode(encode((array,), subject), subject)
        assert back.dtype == array.dtype and back.shape == array.shape and np.array_equal(back, array)


def test_only_the_closed_set_has_a_form():
    x = tf.placeholder(tf.float32, [None], name="x")
    subject = Subject(signature_of(x + 1, [x]))
    for value in (object(), print, b"bytes", {1, 2}, "zero \0 byte", np.array(["text"]), x):
        with pytest.raises((CodecError, TypeError)):
            encode((value,), subject)
    good = encode((np.ones(9), sym("n"), (1, 2)), subject)
    for bad in (b"", good[:-80], good[:30], good.replace(b'"f64"', b'"f99"'), good.replace(b"[9]", b"[-9]"),
                good.replace(b"[9]", b"[99]"), good.replace(b'{"d":1}', b'{"d":7}'),
                good.replace(b'{"d":1}', b'{"d":-1}'), good.replace(b'{"d":1}', b'{"os":"x"}'),
                b"\2" + bytes(7) + b"[" * 99_999, (99_999).to_bytes(8, "little") + b"[" * 99_999):
        assert bad != good
        with pytest.raises(CodecError):
            decode(bad, subject)
