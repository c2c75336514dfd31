"""Scores the published answers to FIND's functions on strings: share of outputs that are equal, by FIND's own rule and by ours.

The answers are Python functions that a language model wrote. `saelab` runs no such code, so this check stands outside of it: each
answer runs in a process of its own, with two seconds of time, 512 MB of memory and no files to write.

Usage: python3 scripts/find_strings.py FIND   (a clone of https://github.com/multimodal-interpretability/FIND, commit 670d837)
"""

import json
import multiprocessing
import os
import re
import resource
import sys

NOTEBOOK = "src/notebooks/example_interpretations_strings.ipynb"
# The tests that the answers were given for: version 1, whose functions are those of the notebook, or version 2.
TESTS = ["src/find-dataset/strings/unit_test_data.json", "src/evaluate_interpretations/utils/eval_data_strings.json"]


def answers(notebook):
    """The code of each answer by the name of its function, None where there is none in a fence of its own."""
    text = "".join("".join(output.get("text", [])) for cell in notebook["cells"] for output in cell.get("outputs", []))
    found = {}
    for block in re.split(r"(?m)^(?=f\d{5} *$)", text)[1:]:
        name, answer = block[:6], block.partition("*estimated description:*")[2]
        code = answer.partition("[CODE]")[2]
        fenced = re.search(r"```(?:python)?\n(.*?)(?:```|\Z)", code, re.S)
        found[name] = fenced.group(1) if fenced else None
    return found


def run(code, inputs, as_published, send):
    """Sends what the function of an answer gives for each input: a pair of whether it ran, and its output."""
    resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
    resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.stdout = sys.stderr = open(os.devnull, "w")
    names = {"__name__": "answer"}
    try:
        exec(code, names)
    except BaseException:
        send.send([(False, None)] * len(inputs))
        return
    name = code.rsplit("def ")[-1].split("(")[0]
    function, results = names.get(name), []
    for text in inputs:
        try:
            # As published, the input is pasted between quotes into a line of Python.
            results.append((True, eval(f"function('{text}')", {"function": function}) if as_published else function(text)))
        except BaseException:
            results.append((False, None))
    send.send([(ran, out if isinstance(out, str) else None) for ran, out in results])


def outputs(code, inputs, as_published):
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=run, args=(code, inputs, as_published, send))
    process.start()
    send.close()
    try:
        return receive.recv() if receive.poll(4) else [(False, None)] * len(inputs)
    except EOFError:
        return [(False, None)] * len(inputs)
    finally:
        process.kill()
        process.join()


def score(results, expected, as_published):
    """Share of right outputs. As published, the first exception ends the tests of a function and counts as one that failed."""
    hits = []
    for (ran, out), right in zip(results, expected):
        hits.append(int(ran and out == right))
        if as_published and not ran:
            break
    return sum(hits) / len(hits)


def main():
    folder = sys.argv[1]
    with open(os.path.join(folder, NOTEBOOK)) as file:
        published = answers(json.load(file))
    for path in TESTS:
        with open(os.path.join(folder, path)) as file:
            tests = json.load(file)
        scores, all_right = {True: [], False: []}, 0
        for test in tests:
            code = published.get(test["name"])
            chosen = [(vector[0][index - 1], vector[1][index - 1]) for vector, index in zip(test["test_vec"], test["correct_inx"])]
            inputs, expected = zip(*chosen)
            for as_published in scores:
                results = [(False, None)] * len(inputs) if code is None else outputs(code, list(inputs), as_published)
                scores[as_published].append(score(results, expected, as_published))
            all_right += scores[False][-1] == 1.0
        by_rule = [sum(values) / len(values) for values in scores.values()]
        print(f"{path}: {len(tests)} functions, as published {by_rule[0]:.4f}, each test on its own {by_rule[1]:.4f}, all right {all_right}")


if __name__ == "__main__":
    main()
