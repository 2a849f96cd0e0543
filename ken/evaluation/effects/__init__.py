"""What a part of the update does to the model: measured by interventions, mapped by attribution, and both compared.

tasks        texts (or any batches) with a loss for every item: what models are asked (`asking`: how)
groups       the parts that are reset, or retained alone: tensors, places, layers, kinds, heads, one's own
live_model   one model of our own that goes to and fro between the pretrained and the fine-tuned weights
reuse        layers that an intervention leaves alone are not run again
ablation     groups reset one by one, and retained one by one; `outcomes` keeps what came out, `paired` compares it
items        what becomes of single items: `answers` of all models, and which groups flip one (`flips`)
path         gradients on the straight line between both models
attribution  each entry's share of the change of the loss; `attribute` makes it
gradient_scores  what moving each entry by itself would do, to first order: scores for a rule
agreement    whether the map is true: its rank correlation with the interventions
"""
