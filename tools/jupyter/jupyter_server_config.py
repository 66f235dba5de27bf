"""JupyterLab on the notebooks of this repository (`make lab`): opening and saving one changes nothing that git sees.

JupyterLab writes the name and version of the kernel into a notebook as soon as the kernel starts, and marks the
notebook as
changed if it had other values; nbdev removes them again. So they are filled in when a notebook is read and
removed when it
is saved.
"""
from ipykernel.ipkernel import IPythonKernel
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbdev.clean import clean_nb
from nbdev.config import get_config

CONFIG = get_config(path=__file__)
KEPT = {name: CONFIG[name] for name in ("allowed_cell_metadata_keys", "allowed_out_metadata_keys")}


def metadata():
    "What JupyterLab writes into a notebook when its kernel has started."
    spec = KernelSpecManager().get_kernel_spec("python3")
    kernel = {"name": "python3", "display_name": spec.display_name, "language": spec.language}
    return {"kernelspec": kernel, "language_info": IPythonKernel.language_info}


class CleanContents(AsyncLargeFileManager):
    "Notebooks as nbdev keeps them."

    async def get(self, path, *args, **kwargs):
        model = await super().get(path, *args, **kwargs)
        if model["type"] == "notebook" and model["content"]:
            model["content"]["metadata"].update(metadata())
        return model

    async def save(self, model, path=""):
        if model["type"] == "notebook" and model.get("content"):
            clean_nb(model["content"], **KEPT)
        return await super().save(model, path)


c.ServerApp.contents_manager_class = CleanContents  # noqa: F821, `c` is given to a configuration file
