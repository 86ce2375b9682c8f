"""NetworkPolicy of Kubernetes on one host: who may connect to whom.

The model and the evaluator know nothing of the kernel. Only what people call imports YAML.
"""
