"""Training on labels: `icm train`. It stands above the annealer; torch is imported when a training begins.

From labels to a model's folder:

    from icm_trainer.models.base_model import BaseModel
    from icm_trainer.sft.job import SftJob
    from icm_trainer.sft.settings import SftSettings
    from icm_trainer.sft.sources import LabelOptions, read_labels

    labels = read_labels(LabelOptions("runs/words"))          # or a LabelSet of your own
    base = BaseModel.find("smollm2-135m", cache, print)
    job = SftJob(labels, base, SftSettings.of("cpu"), Path("runs/words-model"))
    record = await job.prepare().run(progress)

From the folder to log-probabilities of labels: `icm_trainer.sft.classifier.TunedClassifier`. Labels from tuned models:
`icm_trainer.relabel.job.RelabelJob`.
"""
