"""isthmus: joins a pretrained vision encoder and a pretrained language model.

Importing the package makes its models known to the Auto classes of transformers.
"""

from isthmus.axes import Batch, Patches
from isthmus.connectors import Connector, ConnectorConfig
from isthmus.language.chat_template import names as chat_templates
from isthmus.modeling.body import IsthmusModel
from isthmus.modeling.configuration_alignment import IsthmusAlignmentConfig
from isthmus.modeling.configuration_isthmus import IsthmusConfig
from isthmus.modeling.loading import load, load_alignment
from isthmus.modeling.modeling_alignment import IsthmusForAlignment
from isthmus.modeling.modeling_isthmus import IsthmusForConditionalGeneration
from isthmus.modeling.pretrained import IsthmusPreTrainedModel
from isthmus.modeling.processing_alignment import IsthmusAlignmentProcessor
from isthmus.modeling.processing_isthmus import IsthmusProcessor
from isthmus.modeling.register import register

__all__ = [
    "Batch",
    "Connector",
    "ConnectorConfig",
    "IsthmusAlignmentConfig",
    "IsthmusAlignmentProcessor",
    "IsthmusConfig",
    "IsthmusForAlignment",
    "IsthmusForConditionalGeneration",
    "IsthmusModel",
    "IsthmusPreTrainedModel",
    "IsthmusProcessor",
    "Patches",
    "chat_templates",
    "load",
    "load_alignment",
    "register",
]

register()
