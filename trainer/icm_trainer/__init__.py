"""Training on labels: `icm train`. Above the annealer, and the only package beside the laboratory that uses torch.

labels = read_labels(LabelOptions("runs/living"))
base = BaseModel.find("smollm2-135m", cache, print)
job = SftJob(labels, base, SftSettings.of("cpu"), Path("runs/tuned"))
record = await job.prepare().run(progress)
"""
