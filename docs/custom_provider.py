"""A custom provider: pip install grpcio grpcio-tools, then

python -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. \
    proto/claimgate/provider/v1/provider.proto
"""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from claimgate.provider.v1 import provider_pb2 as messages
from claimgate.provider.v1 import provider_pb2_grpc as service

SESSIONS = {"sess_alice": ("alice", ["web"], time.time() + 3600)}


class Sessions(service.ProviderServicer):
    def Authenticate(self, request, context):
        if not request.token.startswith("sess_"):
            return messages.AuthenticateResponse(not_mine=messages.NotMine())
        session = SESSIONS.get(request.token)
        if session is None:
            return messages.AuthenticateResponse(refused=messages.Refused(reason="unknown_key"))
        user, scopes, until = session
        caller = messages.Authenticated(subject=user, scopes=scopes)
        caller.claims.update({"department": "search"})
        caller.expires_at.FromSeconds(int(until))
        return messages.AuthenticateResponse(authenticated=caller)


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    service.add_ProviderServicer_to_server(Sessions(), server)
    server.add_insecure_port("127.0.0.1:9443")
    server.start()
    server.wait_for_termination()
