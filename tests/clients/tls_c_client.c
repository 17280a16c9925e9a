/* Sends itself a message over TLS with the C client.
 *
 * Usage: tls_c_client PORT CA_FILE [CERT_FILE KEY_FILE]
 * Says `served`, or ends with 1.
 */

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 10000

static void check(natsStatus status, const char *what)
{
    if (status != NATS_OK) {
        fprintf(stderr, "%s: %s\n", what, natsStatus_GetText(status));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    natsOptions *options = NULL;
    natsConnection *connection = NULL;
    natsSubscription *subscription = NULL;
    natsMsg *message = NULL;
    char url[64];

    if (argc != 3 && argc != 5) {
        return 1;
    }
    snprintf(url, sizeof url, "tls://localhost:%s", argv[1]);
    check(natsOptions_Create(&options), "options");
    check(natsOptions_SetURL(options, url), "url");
    check(natsOptions_SetAllowReconnect(options, false), "no reconnect");
    check(natsOptions_SetSecure(options, true), "TLS");
    check(natsOptions_LoadCATrustedCertificates(options, argv[2]), "CA");
    if (argc == 5) {
        check(natsOptions_LoadCertificatesChain(options, argv[3], argv[4]), "certificate");
    }
    check(natsConnection_Connect(&connection, options), "connect");
    check(natsConnection_SubscribeSync(&subscription, connection, "echo"), "subscribe");
    check(natsConnection_PublishString(connection, "echo", "hello"), "publish");
    check(natsSubscription_NextMsg(&message, subscription, PATIENCE_MS), "message");
    if (strcmp(natsMsg_GetData(message), "hello") != 0) {
        return 1;
    }
    printf("served\n");
    natsMsg_Destroy(message);
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(connection);
    natsOptions_Destroy(options);
    nats_Close();
    return 0;
}
