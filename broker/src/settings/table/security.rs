//! Who may connect and what they may do: TLS, SASL, users, tokens.
//!
//! Names, types, defaults and ranges are those of Apache Kafka 4.3; the sentences are ours. Sorted by
//! name. A row without `honoured` is accepted and changes nothing here.

use crate::settings::row::{
    Rule, Setting, boolean, class, double, int, list, long, password, short, string,
};

/// The rows.
#[rustfmt::skip]
pub(super) const SECURITY: &[Setting] = &[
    boolean("allow.everyone.if.no.acl.found").default("false").internal()
        .doc("Whether everybody may use what no rule names."),
    string("authorizer.class.name").default("")
        .doc("Java class that decides what clients may do; empty means everything. Java plugins are not loaded here."),
    int("connection.failed.authentication.delay.ms").default("100").at_least(0)
        .doc("How long the connection of a client that failed to authenticate stays open."),
    long("connections.max.reauth.ms").default("0")
        .doc("A client must authenticate anew at the latest after this long; 0 means never."),
    long("delegation.token.expiry.check.interval.ms").default("3600000").at_least(1)
        .doc("How often expired delegation tokens are removed."),
    long("delegation.token.expiry.time.ms").default("86400000").at_least(1)
        .doc("Life of a delegation token unless it is renewed."),
    long("delegation.token.max.lifetime.ms").default("604800000").at_least(1)
        .doc("Longest life of a delegation token, however often it is renewed."),
    password("delegation.token.secret.key")
        .doc("Secret that delegation tokens are signed with."),
    class("principal.builder.class").default("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder").per_broker()
        .doc("Java class that turns a connection into a principal. Java plugins are not loaded here."),
    class("sasl.client.callback.handler.class")
        .doc("Java class that supplies credentials to outgoing SASL connections."),
    list("sasl.enabled.mechanisms").default("GSSAPI").per_broker()
        .doc("SASL mechanisms that clients may use."),
    password("sasl.jaas.config").per_broker()
        .doc("Credentials for SASL, in the form of JAAS files."),
    string("sasl.kerberos.kinit.cmd").default("/usr/bin/kinit").per_broker()
        .doc("Path of the kinit command."),
    long("sasl.kerberos.min.time.before.relogin").default("60000").per_broker()
        .doc("Shortest time between two Kerberos logins."),
    list("sasl.kerberos.principal.to.local.rules").default("DEFAULT").per_broker()
        .doc("Rules from Kerberos principals to short names."),
    string("sasl.kerberos.service.name").per_broker()
        .doc("Kerberos name that this broker runs under."),
    double("sasl.kerberos.ticket.renew.jitter").default("0.05").per_broker()
        .doc("Random part of the time at which a Kerberos ticket is renewed."),
    double("sasl.kerberos.ticket.renew.window.factor").default("0.8").per_broker()
        .doc("Share of a Kerberos ticket's life after which it is renewed."),
    class("sasl.login.callback.handler.class")
        .doc("Java class that handles SASL logins."),
    class("sasl.login.class")
        .doc("Java class of the SASL login."),
    int("sasl.login.connect.timeout.ms")
        .doc("How long connecting to the authentication provider may take."),
    int("sasl.login.read.timeout.ms")
        .doc("How long an answer of the authentication provider may take."),
    short("sasl.login.refresh.buffer.seconds").default("300").per_broker()
        .doc("How long before its end a credential is refreshed at the latest."),
    short("sasl.login.refresh.min.period.seconds").default("60").per_broker()
        .doc("Shortest time between two refreshes of a credential."),
    double("sasl.login.refresh.window.factor").default("0.8").per_broker()
        .doc("Share of a credential's life after which it is refreshed."),
    double("sasl.login.refresh.window.jitter").default("0.05").per_broker()
        .doc("Random part of the time at which a credential is refreshed."),
    long("sasl.login.retry.backoff.max.ms").default("10000")
        .doc("Longest wait between two logins at the authentication provider."),
    long("sasl.login.retry.backoff.ms").default("100")
        .doc("First wait between two logins at the authentication provider."),
    string("sasl.mechanism.controller.protocol").default("GSSAPI")
        .doc("SASL mechanism towards controllers."),
    string("sasl.mechanism.inter.broker.protocol").default("GSSAPI").per_broker()
        .doc("SASL mechanism between brokers."),
    string("sasl.oauthbearer.assertion.algorithm").default("RS256")
        .doc("Algorithm that signs OAuth assertions."),
    string("sasl.oauthbearer.assertion.claim.aud")
        .doc("Audience in OAuth assertions."),
    int("sasl.oauthbearer.assertion.claim.exp.seconds").default("300").rule(Rule::Within(0, 86_400))
        .doc("Life of OAuth assertions."),
    string("sasl.oauthbearer.assertion.claim.iss")
        .doc("Issuer in OAuth assertions."),
    boolean("sasl.oauthbearer.assertion.claim.jti.include").default("false")
        .doc("Whether OAuth assertions carry an id of their own."),
    int("sasl.oauthbearer.assertion.claim.nbf.seconds").default("60").rule(Rule::Within(0, 3600))
        .doc("How far back OAuth assertions become valid."),
    string("sasl.oauthbearer.assertion.claim.sub")
        .doc("Subject in OAuth assertions."),
    string("sasl.oauthbearer.assertion.file")
        .doc("File that holds a ready OAuth assertion."),
    string("sasl.oauthbearer.assertion.private.key.file")
        .doc("Key file that OAuth assertions are signed with."),
    password("sasl.oauthbearer.assertion.private.key.passphrase")
        .doc("Passphrase of that key file."),
    string("sasl.oauthbearer.assertion.template.file")
        .doc("File with further claims of OAuth assertions."),
    string("sasl.oauthbearer.client.credentials.client.id")
        .doc("Client id at the OAuth provider."),
    password("sasl.oauthbearer.client.credentials.client.secret")
        .doc("Client secret at the OAuth provider."),
    int("sasl.oauthbearer.clock.skew.seconds").default("30")
        .doc("How far the clocks of broker and OAuth provider may differ."),
    list("sasl.oauthbearer.expected.audience").default("")
        .doc("Audiences that OAuth tokens must name."),
    string("sasl.oauthbearer.expected.issuer")
        .doc("Issuer that OAuth tokens must name."),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms").default("3600000")
        .doc("How often the OAuth provider's keys are fetched."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms").default("10000")
        .doc("Longest wait before those keys are fetched again."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms").default("100")
        .doc("First wait before those keys are fetched again."),
    string("sasl.oauthbearer.jwks.endpoint.url")
        .doc("Where the OAuth provider's keys are found."),
    class("sasl.oauthbearer.jwt.retriever.class").default("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever")
        .doc("Java class that fetches OAuth tokens."),
    class("sasl.oauthbearer.jwt.validator.class").default("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator")
        .doc("Java class that checks OAuth tokens."),
    string("sasl.oauthbearer.scope")
        .doc("Scope asked for at the OAuth provider."),
    string("sasl.oauthbearer.scope.claim.name").default("scope")
        .doc("Claim that holds a token's scope."),
    string("sasl.oauthbearer.sub.claim.name").default("sub")
        .doc("Claim that holds a token's subject."),
    string("sasl.oauthbearer.token.endpoint.url")
        .doc("Where OAuth tokens are fetched."),
    class("sasl.server.callback.handler.class")
        .doc("Java class that checks SASL credentials."),
    int("sasl.server.max.receive.size").default("524288")
        .doc("Largest message of a client that is not authenticated yet."),
    string("security.inter.broker.protocol").default("PLAINTEXT").one_of(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
        .doc("Security protocol between brokers."),
    string("security.providers")
        .doc("Java classes of security providers."),
    boolean("ssl.allow.dn.changes").default("false")
        .doc("Whether a changed keystore may have another distinguished name."),
    boolean("ssl.allow.san.changes").default("false")
        .doc("Whether a changed keystore may have other alternative names."),
    list("ssl.cipher.suites").default("").per_broker()
        .doc("TLS cipher suites; empty means the library's own."),
    string("ssl.client.auth").default("none").one_of(&["required", "requested", "none"]).per_broker()
        .doc("Whether clients must, may or need not show a certificate."),
    list("ssl.enabled.protocols").default("TLSv1.2,TLSv1.3").per_broker()
        .doc("TLS versions that are accepted."),
    string("ssl.endpoint.identification.algorithm").default("https").per_broker()
        .doc("How the name of the other side is checked against its certificate."),
    class("ssl.engine.factory.class").per_broker()
        .doc("Java class that makes TLS engines."),
    password("ssl.key.password").per_broker()
        .doc("Password of the private key."),
    string("ssl.keymanager.algorithm").default("SunX509").per_broker()
        .doc("Java algorithm of key managers."),
    password("ssl.keystore.certificate.chain").per_broker()
        .doc("Certificate chain, as PEM text."),
    password("ssl.keystore.key").per_broker()
        .doc("Private key, as PEM text."),
    string("ssl.keystore.location").per_broker()
        .doc("File of the private key and its certificates."),
    password("ssl.keystore.password").per_broker()
        .doc("Password of that file."),
    string("ssl.keystore.type").default("JKS").per_broker()
        .doc("Format of that file."),
    string("ssl.principal.mapping.rules").default("DEFAULT")
        .doc("Rules from certificate names to short names."),
    string("ssl.protocol").default("TLSv1.3").per_broker()
        .doc("TLS version that is preferred."),
    string("ssl.provider").per_broker()
        .doc("Java provider of TLS."),
    string("ssl.secure.random.implementation").per_broker()
        .doc("Java source of random numbers for TLS."),
    string("ssl.trustmanager.algorithm").default("PKIX").per_broker()
        .doc("Java algorithm of trust managers."),
    password("ssl.truststore.certificates").per_broker()
        .doc("Trusted certificates, as PEM text."),
    string("ssl.truststore.location").per_broker()
        .doc("File of trusted certificates."),
    password("ssl.truststore.password").per_broker()
        .doc("Password of that file."),
    string("ssl.truststore.type").default("JKS").per_broker()
        .doc("Format of that file."),
    string("super.users").default("").internal()
        .doc("Principals that may do everything, separated by semicolons."),
];
