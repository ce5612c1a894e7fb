package syncmaster.bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.module.blackbird.BlackbirdModule;
import java.io.IOException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The work, as in job.py: decode and validate, fold into the artifact's state, say what came of it. No I/O.
 * Jackson with its Blackbird module (generated accessors), readers and writers made once, as Jackson's own performance notes say.
 */
final class Job {
    @JsonIgnoreProperties(ignoreUnknown = true)
    record CloudEvent(
            @JsonProperty(required = true) String specversion,
            @JsonProperty(required = true) String id,
            @JsonProperty(required = true) String source,
            @JsonProperty(required = true) String type,
            @JsonProperty(required = true) String subject,
            @JsonProperty(required = true) String time,
            @JsonProperty(required = true) String datacontenttype,
            @JsonProperty(required = true) Data data) {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Data(
            @JsonProperty(required = true) Context context,
            @JsonProperty(required = true) Subject subject,
            @JsonProperty(required = true) Custom customData) {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Context(
            @JsonProperty(required = true) String version,
            @JsonProperty(required = true) String id,
            @JsonProperty(required = true) String source,
            @JsonProperty(required = true) String type) {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Subject(@JsonProperty(required = true) String id, @JsonProperty(required = true) String type) {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Custom(@JsonProperty(required = true) String kind, @JsonProperty(required = true) String version) {}

    record State(
            String version, String digest, long generation, String action, String id, String source, String type, String time,
            long portal, long store) {}

    record Update(String key, String artifact, long generation, String version, String digest) {}

    record Audit(String outcome, String artifact, long generation, String version, String id, String type) {}

    private static final Pattern PURL =
            Pattern.compile("pkg:[a-z]+/([^@]+)@([^?]+)\\?checksum=(sha256:[0-9a-f]{64})");
    private static final Pattern TYPE =
            Pattern.compile("dev\\.cdevents\\.artifact\\.(packaged|published|signed|deleted)\\.\\d+\\.\\d+\\.\\d+");
    private static final JsonMapper JSON = JsonMapper.builder()
            .addModule(new BlackbirdModule())
            .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
            .build();
    private static final ObjectReader EVENTS = JSON.readerFor(CloudEvent.class);
    private static final ObjectReader STATES = JSON.readerFor(State.class);
    private static final ObjectWriter WRITER = JSON.writer();

    /** One event, folded; the state's bytes and the three records that go out. */
    record Change(byte[] state, byte[] portal, byte[] store, byte[] audit) {}

    static Change apply(byte[] value, byte[] before) throws IOException {
        CloudEvent event = EVENTS.readValue(value);
        Matcher purl = PURL.matcher(event.data.subject.id);
        Matcher type = TYPE.matcher(event.type);
        if (!event.specversion.equals("1.0") || !event.datacontenttype.equals("application/json") || !purl.matches() || !type.matches()) {
            throw new IOException("not an artifact event: " + event.type + " " + event.data.subject.id);
        }
        String artifact = event.data.customData.kind + "/" + purl.group(1), version = purl.group(2), digest = purl.group(3);
        long generation = before == null ? 1 : STATES.<State>readValue(before).generation + 1;
        State state = new State(
                version, digest, generation, type.group(1), event.id, event.source, event.type, event.time, generation, generation);
        return new Change(
                WRITER.writeValueAsBytes(state),
                update("portal", artifact, generation, version, digest),
                update("store", artifact, generation, version, digest),
                WRITER.writeValueAsBytes(new Audit("accepted", artifact, generation, version, event.id, event.type)));
    }

    private static byte[] update(String component, String artifact, long generation, String version, String digest) throws IOException {
        return WRITER.writeValueAsBytes(
                new Update(artifact + "@" + generation + "/" + component, artifact, generation, version, digest));
    }

    private Job() {}
}
