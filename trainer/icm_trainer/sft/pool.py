"""All rows of the data that labels are of."""

from __future__ import annotations

from icm_annealer.data.examples import Loaded, load_examples
from icm_annealer.data.task import Task, load_task
from icm_annealer.runs.gold import read_again
from icm_client.contract.errors import RequestError
from icm_trainer.sft.sources import LabelOptions, run_of


def read_pool(options: LabelOptions, task: Task) -> Loaded:
    """The rows of which those that the options name, of this task, are labelled. Raises RequestError if they are not
    known."""
    record = run_of(options)
    if record is not None:
        data = read_again(record, options.task, options.data, allow_code=options.allow_code).data
        if data is None:
            raise RequestError(f"name the task file and the data of {record.folder} with --task and --data")
        return data
    assert options.task is not None  # read_labels has asked for it
    loaded = load_task(options.task, allow_code=options.allow_code)
    source = options.data or (options.source if options.from_gold or options.field else None) or loaded.data_path
    if source is None:
        raise RequestError(f"name the rows of the task {task.name} with --data: labels with texts alone are not enough")
    return load_examples(source, task.model_copy(update={"gold": loaded.task.gold}))
