"""A client that is generated from the complete OpenAPI document.

    python typed.py <folder of the generated package> <URL> <API key>
"""

import json
import sys

sys.path.insert(0, sys.argv[1])

from farebox_client import AuthenticatedClient  # noqa: E402
from farebox_client.api.prepaid import get_credits, get_key, get_usage, list_models  # noqa: E402

client = AuthenticatedClient(base_url=sys.argv[2], token=sys.argv[3])
models = list_models.sync(client=client)
credits, status = get_credits.sync(client=client), get_key.sync(client=client)
usage = get_usage.sync_detailed(client=client, from_="yesterday")
ok = (
    len(models.data) == 1
    and credits.data.available > 0
    and status.data.rpm > 0
    and usage.parsed.error.code == "invalid_params"
)
print(json.dumps({"script": "typed", "ok": ok}))
sys.exit(0 if ok else 1)
