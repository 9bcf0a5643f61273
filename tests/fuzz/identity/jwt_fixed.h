/* Made by tests/vectors/jwt/make.py. */
#ifndef SALLYPORT_FUZZ_JWT_FIXED_H
#define SALLYPORT_FUZZ_JWT_FIXED_H

#define FIXED_ISSUER "https://issuer.example/generic"
#define FIXED_AUDIENCE "api://orders"
#define FIXED_NOW 1800000000

static const char fixed_jwks[] =
    "{\"keys\": [{\"kty\": \"RSA\", \"n\": \"iCQKZpbZ75eF1-6QJV4IF8DYo6cy-MkqLXaLzvFz-5ZxfCnBBNEGaeAvOIc"
    "4aUAMWnuZOdpiOL4QHiviSF35_8QU2n-9dwls7THH-UqxTOpRwH2oArma8XGBB_N-djs47_XTZ6ZFhPpfzaS2QOf9c"
    "oKGLoLzBg5dtvtRyOwydL6SeKH7BfYwZKZyDCCWr3EeRJcRL8I_YnsSdfT7sISZF9O_vGAjaP3vrXHDhi8FUmGFTiF"
    "ncq8MqpVL-15LgjBPBpOi3PLd3b7TpXdwBsEe9j35OjAigEFyeAmcFFvEesncqdn_ma1HkKou7fiVQS-eJKGpkKmb3"
    "JD3DoMn7SefMQ\", \"e\": \"AQAB\", \"kid\": \"rsa-1\", \"use\": \"sig\"}, {\"kty\": \"EC\", \"crv\": \"P-256\", "
    "\"x\": \"DA3SX6qxDGl6JIyg3uLMMD1ppN9mbiyTOqrTBW7Xsbw\", \"y\": \"SdaSM2WYB8l-tXTTpuRp8IdKkEc2m-aM"
    "pwIQJRL3U3g\", \"kid\": \"ec-256\", \"alg\": \"ES256\"}, {\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"6fw"
    "1pvWL9xwSME_4HpxIsp37bgeWv-ksPh612skaTUc\", \"kid\": \"ed-1\", \"alg\": \"EdDSA\", \"use\": \"sig\"}]}";

static const char *const fixed_tokens[] = {
    "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogInJzYS0xIiwgInR5cCI6ICJKV1QifQ.eyJpc3MiOiAiaHR0cHM6Ly9pc3N"
    "1ZXIuZXhhbXBsZS9nZW5lcmljIiwgInN1YiI6ICJhbGljZSIsICJhdWQiOiAiYXBpOi8vb3JkZXJzIiwgImV4cCI6I"
    "DE4MDAwMDA2MDB9.U3nZOxvEKxJzWXkRtbMSDZpzhufLLWIVNvyqmQ_MqoSesOignnF_ICoaDcXNLsBII-7OWvcNP9"
    "a67dRlW7wvd-436w9xldihUNxnUMnZGNJNFlGTD_L6AEzu3pvkLeNMZXmsLrohjPY5Z0L3EGHsxEQSq2EuDUD7gGMn"
    "d-5PNIa2xoBwJ4pKhZMoxAnmbWbwKZAXfX_9aLlGkS-l9eOlh-I8rqo_qRs2I8Fh1OtsfApaTilO31bM-YCvkp-DhA"
    "4fjFX85nhIdwEN6yNJDukd3F-Oeb4y1mAvFIiJpwXlIw5cDzf7ZeQU3QL5WyOJCVuKs2ALdAI4B5MEbYG12NFb1A",
    "eyJhbGciOiAiUFMyNTYiLCAia2lkIjogInJzYS0xIiwgInR5cCI6ICJKV1QifQ.eyJpc3MiOiAiaHR0cHM6Ly9pc3N"
    "1ZXIuZXhhbXBsZS9nZW5lcmljIiwgInN1YiI6ICJhbGljZSIsICJhdWQiOiAiYXBpOi8vb3JkZXJzIiwgImV4cCI6I"
    "DE4MDAwMDA2MDB9.XfwX-grHUerJqe_GQ9R1RW6465qrlGFBUkTOIRJVLNyWPIuX9cY7uYQXfUtV3g-x9lsi77BFje"
    "A9stGSNq7aJReDgkr-X4LE8T6JE5ttO2krPUuXQ2CkBRZ53CqzFhhI6Y2cHxolXig20jLPTzhueNidubsBKgl9VbqJ"
    "vvgIFftThhMNLjO0IXvEW0U4NR1GQzYG9YAJyoFcdX7cGsk6gkJ6dgoGEX8ugv_6w6AcW7RTUThZlcX40IQC9cnQkB"
    "rffZWriCaWeJXS-B5BZiQrXSC-M4YlWmPPTUEL0kV6DYszgI_jZi-ktsu06lVJ9F_INaj3fHqIyiGgKbr6IxwYCg",
    "eyJhbGciOiAiRVMyNTYiLCAia2lkIjogImVjLTI1NiIsICJ0eXAiOiAiSldUIn0.eyJpc3MiOiAiaHR0cHM6Ly9pc3"
    "N1ZXIuZXhhbXBsZS9nZW5lcmljIiwgInN1YiI6ICJhbGljZSIsICJhdWQiOiAiYXBpOi8vb3JkZXJzIiwgImV4cCI6"
    "IDE4MDAwMDA2MDB9.zCvKEfp3w0Efx2WeQUjdoaUDPTIS6ww3LmlbBrXILoE3bdkXxT-baKMwOrAwonm_cE9DgY9Ql"
    "64Fwk1L08CfCg",
    "eyJhbGciOiAiRWREU0EiLCAia2lkIjogImVkLTEiLCAidHlwIjogIkpXVCJ9.eyJpc3MiOiAiaHR0cHM6Ly9pc3N1Z"
    "XIuZXhhbXBsZS9nZW5lcmljIiwgInN1YiI6ICJhbGljZSIsICJhdWQiOiAiYXBpOi8vb3JkZXJzIiwgImV4cCI6IDE"
    "4MDAwMDA2MDB9.3jbv3QWla-RSqt44ZSW0v8uRq1Rb73T_PVgbZ-zJ9VwSgkS5bidLMrS0_4oqstnAB70DTUi3n0b8"
    "IhWUg0UGBw",
};

#endif
