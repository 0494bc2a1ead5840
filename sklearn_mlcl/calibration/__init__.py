"""Calibration of each label's probability on held-out samples."""

from sklearn_mlcl.calibration._meta import MultiLabelCalibratedClassifierCV
from sklearn_mlcl.calibration._scaling import METHODS, LabelCalibration, fit_calibration

__all__ = ["METHODS", "LabelCalibration", "MultiLabelCalibratedClassifierCV", "fit_calibration"]
