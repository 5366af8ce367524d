"""Assessors A: images -> scores."""

from latentjax.assessors.efficientnet import EfficientNet
from latentjax.assessors.image_property import ImageProperty
from latentjax.assessors.resnet import ResNet

KINDS = {"efficientnet": EfficientNet, "image_property": ImageProperty, "resnet": ResNet}
