"""Tasks of lm-evaluation-harness of a few items, as files of one's own: a YAML file each, and data beside it."""

import json

from effects_models import word_tokenizer

ITEMS = [
    {"question": f"w{i} w{i + 1}", "choices": ["w3", "w4 w5", "w6"], "answer": i % 3, "text": f"w{i} w{2 * i} w7"}
    for i in range(8)
]
_TASKS = {
    "colours": """
        output_type: multiple_choice
        doc_to_text: "{{question}}"
        doc_to_choice: "{{choices}}"
        doc_to_target: answer
        metric_list: [{metric: acc}, {metric: acc_norm}]
    """,
    "words": """
        output_type: multiple_choice
        doc_to_text: "{{text}}"
        doc_to_choice: "{{choices}}"
        doc_to_target: "{{choices[answer]}}"
        metric_list: [{metric: acc}]
    """,
    "last": """
        output_type: loglikelihood
        doc_to_text: "{{question}}"
        doc_to_target: " w3"
        metric_list: [{metric: acc}, {metric: perplexity, aggregation: perplexity, higher_is_better: false}]
    """,
    "prose": """
        output_type: loglikelihood_rolling
        doc_to_text: ""
        doc_to_target: "{{text}}"
        metric_list: [{metric: word_perplexity}]
    """,
    "written": """
        output_type: generate_until
        doc_to_text: "{{question}}"
        doc_to_target: "w3"
        generation_kwargs: {until: ["w1"], do_sample: false, max_gen_toks: 3}
        metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
    """,
    "examples": """
        output_type: multiple_choice
        fewshot_split: test
        num_fewshot: 2
        doc_to_text: "{{question}}"
        doc_to_choice: "{{choices}}"
        doc_to_target: answer
        metric_list: [{metric: acc}]
    """,
}


def write_tasks(folder):
    """Write all of them; what datasets makes of their data lies in the folder, too."""
    data = folder / "items.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    for name, text in _TASKS.items():
        lines = [f"task: {name}", "dataset_path: json", "test_split: test", "dataset_kwargs:"]
        lines += [f"  cache_dir: {folder / 'cache'}", f"  data_files: {{test: {data}}}"]
        lines += [line.strip() for line in text.strip().splitlines()]
        (folder / f"{name}.yaml").write_text("\n".join(lines) + "\n")
    return folder


def beginning_tokenizer():
    """That of `effects_models`, with a token that begins texts, and none for padding."""
    tokenizer = word_tokenizer()
    tokenizer.bos_token = tokenizer.eos_token = "w39"
    return tokenizer
